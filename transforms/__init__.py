"""Transforms, each loaded on use: `from forebay import transforms as T`."""
