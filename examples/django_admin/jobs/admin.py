"""Slipway's jobs in Django's admin: "Add run" starts one, the list shows how each stands now."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest

from jobs.models import Run
from slipway.client import Slipway
from slipway.core.errors import SlipwayError

LISTED = 200  # runs whose states one request asks for


@contextmanager
def slipway() -> Iterator[Slipway]:
    """The admin service that the settings name."""
    with Slipway(settings.SLIPWAY_ADMIN_URL, settings.SLIPWAY_TOKEN) as client:
        yield client


class StartForm(forms.ModelForm):
    """A job and its parameters. The key makes one run of it, however often the form is sent."""

    job = forms.ChoiceField()
    key = forms.UUIDField(widget=forms.HiddenInput)

    class Meta:
        """What a person fills in."""

        model = Run
        fields = ("job", "parameters")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["key"].initial = uuid.uuid4
        try:
            with slipway() as client:
                self.fields["job"].choices = [(job.name, job.name) for job in client.jobs()]
        except SlipwayError as error:
            self.fields["job"].help_text = str(error)

    def clean(self) -> dict[str, Any]:
        """Start the run, as only Slipway knows whether the parameters fit; what it refuses stands above the form."""
        found: dict[str, Any] = super().clean()
        if not self.errors:
            try:
                with slipway() as client:
                    started = client.start(found["job"], found["parameters"] or {}, key=str(found["key"]))
                    self.instance.run_id = started.id
            except SlipwayError as error:
                raise forms.ValidationError(str(error)) from error
        return found


@admin.register(Run)
class RunAdmin(admin.ModelAdmin):
    """Runs are added and looked at; what was asked for is never changed."""

    form = StartForm
    list_display = ("job", "parameters", "state", "asked_by", "asked_at")
    actions = ("cancel",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """All runs, each with its state; the newest runs are asked for once for the whole list."""
        states = []
        try:
            with slipway() as client:
                states = [When(run_id=run.id, then=Value(run.state.name)) for run in client.runs(LISTED)]
        except SlipwayError as error:
            messages.warning(request, str(error))
        return super().get_queryset(request).annotate(now=Case(*states, default=Value("unknown")))

    @admin.display(description="state")
    def state(self, run: Run) -> str:
        """How it stands now, as Slipway says."""
        return run.now

    def save_model(self, request: HttpRequest, obj: Run, form: StartForm, change: bool) -> None:
        """Keep which run was started, and for whom; a form that was sent twice is one run, and one line."""
        known = Run.objects.filter(run_id=obj.run_id).first()
        obj.asked_by = request.user
        if known is None:
            super().save_model(request, obj, form, change)
        else:
            obj.pk = known.pk

    @admin.action(description="Cancel the selected runs")
    def cancel(self, request: HttpRequest, chosen: QuerySet[Run]) -> None:
        """Ask Slipway to cancel each; a refusal is shown in its words."""
        with slipway() as client:
            for run in chosen:
                try:
                    client.say(run.run_id, "cancel", f"{request.user.get_username()} in the Django admin")
                except SlipwayError as error:
                    messages.error(request, f"{run.job}: {error}")

    def has_change_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Nobody changes what was asked for."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Nobody makes it unasked."""
        return False
