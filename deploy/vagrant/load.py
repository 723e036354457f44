"""Sends requests, each on a connection of its own, and shows who answered.

usage: load.py URL REQUESTS. The exit code is 1 if a request failed.
"""

import collections
import concurrent.futures
import sys
import urllib.request

WORKERS = 16
TIMEOUT = 10  # seconds


def ask(url):
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return answer.read().decode().strip()
    except OSError as error:
        return error


url, requests = sys.argv[1], int(sys.argv[2])
with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
    answers = list(pool.map(ask, [url] * requests))
failures = [a for a in answers if isinstance(a, OSError)]
served = collections.Counter(a for a in answers if isinstance(a, str))
for name, n in sorted(served.items()):
    print(f"{name:<12} {n:6} requests, share {n / requests:.3f}")
print(f"{requests} requests, {len(failures)} failed", *failures[:1])
sys.exit(1 if failures else 0)
