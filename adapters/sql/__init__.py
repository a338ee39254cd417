"""Operations, acknowledged heights and sealed records in one SQLite file, by SQLAlchemy; read over aiosqlite."""
