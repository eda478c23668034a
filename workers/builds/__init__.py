"""The demo's workflow code, one module a build; `rollout.worker.app` says what each offers.

A build that has been deployed is never edited: what changes gets a build id of its own.
"""
