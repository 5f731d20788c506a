"""A network camera made here."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import cv2

from tests.ml.videos import make_frame
from tests.ports import free_port


class MotionJpeg:
    """A network camera of the plainest kind; `n_frames` and then it hangs up."""

    def __init__(self, n_frames: int) -> None:
        self.port = free_port()
        self.n_connections = 0
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.n_connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                for number in range(n_frames):
                    data = cv2.imencode(".jpg", make_frame(number % 256))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")

            def log_message(self, *_args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://user:secret@127.0.0.1:{self.port}/video"
