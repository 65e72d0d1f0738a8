"""What we measure ourselves and our peers with, side by side; one command each."""
