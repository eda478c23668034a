"""The demo's workflow code, one module a build; `workers.app` says what such a module offers.

A build that has been deployed is never edited: what changes gets a build id of its own.
"""
