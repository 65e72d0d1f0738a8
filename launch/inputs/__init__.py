"""What the stages of a run read: the world, the teacher, traces, contenders, and their digests."""
