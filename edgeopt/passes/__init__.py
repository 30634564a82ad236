"""Keras -> Keras compression passes, one technique a file or folder. Imports training, models and what those may."""
