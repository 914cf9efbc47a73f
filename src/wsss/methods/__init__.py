"""Localisation methods: one paper, one folder."""
