"""What `footfall embed` does: the embedding of each user of a log, by the `embed` signature of a model, on Beam."""
