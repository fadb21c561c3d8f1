"""grpcio with generic stubs: messages are bytes."""
import grpc, queue
from common import *

same = {"request_serializer": lambda b: b, "response_deserializer": lambda b: b}


def run(op):
    host = op["base"].split("//")[1]
    if op["base"].startswith("https"):
        roots = open(op.get("ca") or os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"], "rb").read()
        channel = grpc.secure_channel(host + ":443", grpc.ssl_channel_credentials(roots))
    else:
        channel = grpc.insecure_channel(host + ":80")
    data = [(k, v) for k, v in fields(op).items()]
    kind = op["feature"]
    # A prefix of the path is another service to gRPC.
    name = (op["prefix"] + "/qila.Echo/").replace("//", "/") + {"unary": "Unary", "server-stream": "ServerStream",
                                                               "client-stream": "ClientStream", "bidi": "Bidi"}[kind]
    with channel:
        try:
            if kind == "unary":
                call = channel.unary_unary(name, **same).with_call(b"word", metadata=data, timeout=TIMEOUT)
                got, after = [call[0]], call[1].trailing_metadata()
            elif kind == "server-stream":
                call = channel.unary_stream(name, **same)(b"word", metadata=data, timeout=TIMEOUT)
                got, after = list(call), call.trailing_metadata()
            elif kind == "client-stream":
                call = channel.stream_unary(name, **same).with_call(iter([b"a", b"b", b"c"]), metadata=data, timeout=TIMEOUT)
                got, after = [call[0]], call[1].trailing_metadata()
            else:
                # Each word waits for the answer to the one before: a gateway that holds any back stops it.
                words, got = queue.Queue(), []
                call = channel.stream_stream(name, **same)(iter(words.get, None), metadata=data, timeout=TIMEOUT)
                for n in range(4):
                    words.put(b"word %d" % n)
                    got.append(next(call))
                words.put(None)
                got += list(call)
                after = call.trailing_metadata()
            tell(op["case"], grpc="OK", messages=[m.decode() for m in got], trailers=dict((k, str(v)) for k, v in after))
        except grpc.RpcError as e:
            tell(op["case"], grpc=e.code().name, error=e.details())


each(run)
