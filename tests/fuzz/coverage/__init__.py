"""Coverage-guided fuzzing of the compiled codecs: targets with an oracle each, their build, their run."""
