"""Engines: what turns a segment's text into PCM. One foreign library a file."""
