"""What is known: suites, grading, statistics and the scorecard."""
