"""Alembic migrations of the database, shipped as package data."""
