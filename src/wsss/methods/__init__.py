"""Localisation methods: one folder per paper."""
