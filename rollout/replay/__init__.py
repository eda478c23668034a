"""Whether a build can go on with runs of another: by replaying their histories on its code."""
