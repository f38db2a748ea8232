"""The REST API and the pages of the daemon.

server     the address: TLS, how many may connect, how much they may send
gate       who may ask, and how often
handler    what all requests have in common
resources  each resource of the REST API
logs       its resources for logs
openapi    the description of all of them
page       the status page
"""
