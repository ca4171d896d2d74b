"""Verified files: fetch, cache, unpack, install as generations."""
