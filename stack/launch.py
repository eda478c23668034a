"""For program files written when the launcher was called ``stack.launch``; it may go with 1.0."""

from rollout.supervision.launch import main

if __name__ == "__main__":
    main()
