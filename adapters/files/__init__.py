"""Plain files that follow a text of a document and are edited by any editor."""
