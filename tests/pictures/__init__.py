"""Scripts that make pictures of what people see, to be looked at; no tests."""
