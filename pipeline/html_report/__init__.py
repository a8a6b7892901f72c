"""The page that shows a run: `page` makes it of sections, which are tables and charts of what the artifacts hold."""
