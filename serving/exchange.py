"""One request to one server."""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from .layers import attempts, failures, headers, translate, transports


class Exchange(msgspec.Struct):
    """What is sent to a server on behalf of ``step``, and through what; in the end, what came back.

    ``document`` is a request or, where the operation is ``prepared``, what the
    client wrote. ``reply`` is the last one, or how it began; ``path`` is where
    it came from, unless the operation is prepared or streamed.
    """

    step: attempts.Try | None
    operation: translate.Operation
    document: translate.Document
    call: translate.Call
    endpoint: transports.Endpoint
    way: transports.AsyncTransport
    prepared: translate.Prepared | None = None
    reply: transports.Reply | None = None
    path: str = ""

    async def converse(self) -> translate.Document | translate.Failure:
        """Ask the server, and once more where its first answer leaves something open."""
        if not self.endpoint.url:
            return translate.errors.stamp(translate.errors.missing_url(), self.call, "")
        prepared = self.prepared
        if prepared is not None:
            begun = prepared.begin(self.document)
            if isinstance(begun, translate.Failure):
                return begun
            reply = self.reply = await self.way.send(begun.plan)
            return prepared.end(begun, reply)
        conversation = translate.converse(self.operation, self.document, self.call)
        return await transports.run_async(self, conversation)

    async def send(self, plan: transports.PlanLike) -> transports.Reply:
        """What comes back to ``plan``."""
        reply = self.reply = await self.way.send(plan)
        self.path = plan.path
        return reply

    def begin(
        self,
    ) -> tuple[translate.Plan, Callable[[transports.Reply], translate.Fold]] | translate.Failure:
        """What to send for an answer that is streamed, and what makes events of that by how it begins."""
        operation, document, call, prepared = self.operation, self.document, self.call, self.prepared
        if prepared is not None:
            begun = prepared.begin(document)
            return (
                begun if isinstance(begun, translate.Failure) else (begun.plan, partial(prepared.fold, begun))
            )
        plan = operation.plan(document, call)
        if isinstance(plan, translate.Failure):
            return plan
        if operation.fold is None:
            raise TypeError("this operation is not streamed")
        fold = operation.fold
        return plan, lambda head: fold(document, head, call)

    @property
    def forwarded(self) -> dict[str, str]:
        """The headers of the server's answer that the client gets to see."""
        return {} if self.reply is None else headers.to_client(self.reply.headers, self.endpoint.api_key)

    def failed(self, failure: translate.Failure) -> failures.Failed:
        """``failure``, and what else decides whether it is worth another attempt."""
        told: Mapping[str, str] = {} if self.reply is None else self.reply.headers
        cut = None if self.reply is None else self.reply.cut
        return failures.Failed(
            failure.error,
            failures.retry_after_s(told.get("retry-after"), told.get("date")),
            unreachable=cut is not None and cut.unreachable,
        )
