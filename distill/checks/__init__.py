"""What is looked at before a training: vocabularies, lengths, the first step."""
