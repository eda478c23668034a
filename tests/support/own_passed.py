"""What a workflow and an activity share where the sandbox passes this module through."""

TOKEN = object()
