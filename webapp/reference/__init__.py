"""The reference of the JSON API: its OpenAPI document, and a page that shows it."""
