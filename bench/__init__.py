"""Measurements that anyone can run again; every figure in the README comes from here.

Machines differ, so each figure stands beside that of a peer from the same run.
"""
