"""The REST API and the pages of the daemon.

server     the address: TLS, how many may connect, how much they may send
gate       who may ask, and how often
handler    what all requests have in common
resources  each resource of the REST API
logs       its resources for logs
openapi    the description of all of them
tasks      its resources for single engines
stream     what changes, as it changes
login      how a browser gets in
logins     who has got in
page       the files of the dashboard, in static/
"""
