"""Address space in and out: CSV and NetBox's JSON. Parsing, printing and comparing are pure; `apply` and `read` ask
the database."""
