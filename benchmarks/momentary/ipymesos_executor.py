"""An executor whose engines run and end at once, or with $STAY only run. It stands in for the real one by PYTHONPATH;
standard library only.

Each launch is noted in the folder $LAUNCHES, one line per task, so that what was launched twice can be found.
"""

import base64
import http.client
import json
import os
import sys
import time
import uuid

AGENT, _, ADDRESS = os.environ["MESOS_SLAVE_PID"].partition("@")
ME = {
    "executor_id": {"value": os.environ["MESOS_EXECUTOR_ID"]},
    "framework_id": {"value": os.environ["MESOS_FRAMEWORK_ID"]},
}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


def post(connection, kind, body):
    message = json.dumps({"type": kind, **ME, kind.lower(): body})
    connection.request("POST", f"/{AGENT}/api/v1/executor", message, HEADERS)
    return connection.getresponse()


def update(connection, task_id, state, **said):
    status = {
        "task_id": task_id,
        "state": state,
        "source": "SOURCE_EXECUTOR",
        "timestamp": time.time(),
        "uuid": base64.b64encode(uuid.uuid4().bytes).decode(),
        "data": base64.b64encode(json.dumps(said).encode()).decode(),
    }
    post(connection, "UPDATE", {"status": status}).read()


def main(kind):
    calls = http.client.HTTPConnection(ADDRESS)
    subscribe = {"unacknowledged_tasks": [], "unacknowledged_updates": []}
    stream = post(http.client.HTTPConnection(ADDRESS), "SUBSCRIBE", subscribe)
    with open(os.path.join(os.environ.get("LAUNCHES", ""), ME["executor_id"]["value"]), "a", buffering=1) as launches:
        while line := stream.readline():
            event = json.loads(stream.read(int(line)))
            if event["type"] == "LAUNCH":
                task_id = event["launch"]["task"]["task_id"]
                print(task_id["value"], file=launches)
                update(calls, task_id, "TASK_RUNNING", engine_id=0)
                if kind == "engines" and "STAY" not in os.environ:
                    update(calls, task_id, "TASK_FINISHED")
            elif event["type"] == "KILL":
                update(calls, event["kill"]["task_id"], "TASK_KILLED")
            elif event["type"] == "SHUTDOWN":
                return


if __name__ == "__main__":
    main(sys.argv[1])
