"""What is done with ungrounded facts: masks, placeholders, surrogates, declining."""
