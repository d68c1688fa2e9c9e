"""The suite: rows of a table as YAML, what each depends on, and where results go."""
