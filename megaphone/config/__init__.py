"""One TOML file into one frozen Config; every mistake names file, key and reason."""
