"""The filters that drop traces: each a function of what is known of a trace, in one ordered list."""
