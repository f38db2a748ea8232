"""An executor that does as it is told at once, and nothing else, for tests of how tasks are launched.

It stands in for the real one by PYTHONPATH, so that the command of a launch is tested as it is. Standard library
only: http.client undoes the chunks, so the answer to SUBSCRIBE is read as RecordIO.
"""

import base64
import http.client
import json
import os
import sys
import time
import uuid

AGENT, _, ADDRESS = os.environ["MESOS_SLAVE_PID"].partition("@")
PATH = f"/{AGENT}/api/v1/executor"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
ME = {
    "executor_id": {"value": os.environ["MESOS_EXECUTOR_ID"]},
    "framework_id": {"value": os.environ["MESOS_FRAMEWORK_ID"]},
}


def call(kind, body):
    connection = http.client.HTTPConnection(ADDRESS)
    connection.request("POST", PATH, json.dumps({"type": kind, **ME, kind.lower(): body}), HEADERS)
    return connection.getresponse()


def update(task_id, state, message="", **said):
    status = {
        "task_id": task_id,
        "state": state,
        "message": message,
        "source": "SOURCE_EXECUTOR",
        "timestamp": time.time(),
        "uuid": base64.b64encode(uuid.uuid4().bytes).decode(),
        "data": base64.b64encode(json.dumps(said).encode()).decode(),
    }
    call("UPDATE", {"status": status})


def subscribe():
    """The stream of events; after a restart of the agent it is not there at once."""
    while True:
        try:
            response = call("SUBSCRIBE", {"unacknowledged_tasks": [], "unacknowledged_updates": []})
            if response.status == 200:
                return response
        except OSError:
            pass
        time.sleep(0.1)


def serve(tasks):
    stream = subscribe()
    while line := stream.readline():
        event = json.loads(stream.read(int(line)))
        if event["type"] == "LAUNCH":
            task = event["launch"]["task"]
            tasks.append(task["task_id"])
            known = {"argv": sys.argv[1:], "data": base64.b64decode(task["data"]).decode()}
            update(task["task_id"], "TASK_RUNNING", json.dumps(known), engine_id=len(tasks))
        elif event["type"] == "KILL":
            tasks.remove(event["kill"]["task_id"])
            update(event["kill"]["task_id"], "TASK_KILLED")
        elif event["type"] == "MESSAGE":
            for task_id in tasks:
                update(task_id, "TASK_RUNNING", base64.b64decode(event["message"]["data"]).decode())
        elif event["type"] == "SHUTDOWN":
            sys.exit()


if __name__ == "__main__":
    launched = []
    while True:
        try:
            serve(launched)
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
