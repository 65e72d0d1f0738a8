"""Chat templates: what each wants, how it writes a conversation, how what a model wrote is read."""
