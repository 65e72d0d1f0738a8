"""What a prompt is made of besides statements: labels, records, options, questions of knowledge."""
