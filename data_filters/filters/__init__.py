"""The filters that drop traces: functions of what is known of a trace, in one ordered list."""
