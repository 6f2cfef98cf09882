"""What recorded traffic says about a change: of the translators, or of the server."""
