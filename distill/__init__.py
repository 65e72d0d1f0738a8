"""What is learned: engines, problems, targets, losses and the training loop."""
