"""The scorecard for people: tables, drawings, one page."""
