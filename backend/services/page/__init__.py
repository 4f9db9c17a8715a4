"""The page that a person reads: ``index.html`` beside the JSON files, and its languages."""
