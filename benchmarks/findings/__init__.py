"""Findings about shift-variance, each tested by one command."""
