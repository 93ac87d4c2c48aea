"""A trained model as a web service: an API in JSON and a page. What `mode=serve` runs."""
