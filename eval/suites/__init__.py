"""The questions: suites, their names, and which facts and problems they ask about."""
