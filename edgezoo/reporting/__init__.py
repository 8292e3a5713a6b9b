"""Reports: records in, pages and tables out. Nothing is measured here."""
