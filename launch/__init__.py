"""What happens, in order: the one command, the stages, the run folder, publishing."""
