"""The passes of the filter stage over numbered units: examine, merge, write."""
