"""The live page that the controller serves: what it shows, and its files."""
