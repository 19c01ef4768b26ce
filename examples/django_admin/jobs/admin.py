"""Slipway's jobs in Django's admin: "Add run" starts a run, and the list shows the current state of each run."""

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

LISTED = 200  # most runs whose states are read at once


@contextmanager
def slipway() -> Iterator[Slipway]:
    """Yield a client of the admin service in the settings."""
    with Slipway(settings.SLIPWAY_ADMIN_URL, settings.SLIPWAY_TOKEN) as client:
        yield client


class StartForm(forms.ModelForm):
    """A job and its parameters. Because of the key, a form that is sent several times starts one run."""

    job = forms.ChoiceField()
    key = forms.UUIDField(widget=forms.HiddenInput)

    class Meta:
        """The fields that a person fills in."""

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
        """Start the run, because only Slipway can validate the parameters. Show Slipway's error above the form."""
        cleaned: dict[str, Any] = super().clean()
        if not self.errors:
            try:
                with slipway() as client:
                    run = client.start(cleaned["job"], cleaned["parameters"] or {}, key=str(cleaned["key"]))
                    self.instance.run_id = run.id
            except SlipwayError as error:
                raise forms.ValidationError(str(error)) from error
        return cleaned


@admin.register(Run)
class RunAdmin(admin.ModelAdmin):
    """Runs can be added and viewed, not changed."""

    form = StartForm
    list_display = ("job", "parameters", "state", "asked_by", "asked_at")
    actions = ("cancel",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Return all runs with their states. One request to Slipway reads the states of the newest runs."""
        states = []
        try:
            with slipway() as client:
                states = [When(run_id=run.id, then=Value(run.state.name)) for run in client.runs(LISTED)]
        except SlipwayError as error:
            messages.warning(request, str(error))
        return super().get_queryset(request).annotate(now=Case(*states, default=Value("unknown")))

    @admin.display(description="state")
    def state(self, run: Run) -> str:
        """Return the run's current state in Slipway."""
        return run.now

    def save_model(self, request: HttpRequest, obj: Run, form: StartForm, change: bool) -> None:
        """Save the run and its user. If the form was sent twice, it is one run and one row."""
        existing = Run.objects.filter(run_id=obj.run_id).first()
        obj.asked_by = request.user
        if existing is None:
            super().save_model(request, obj, form, change)
        else:
            obj.pk = existing.pk

    @admin.action(description="Cancel the selected runs")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Run]) -> None:
        """Request the cancellation of each run. Show Slipway's error if it refuses."""
        with slipway() as client:
            for run in queryset:
                try:
                    client.act(run.run_id, "cancel", f"{request.user.get_username()} in the Django admin")
                except SlipwayError as error:
                    messages.error(request, f"{run.job}: {error}")

    def has_change_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Return false: requested runs cannot be changed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Run | None = None) -> bool:
        """Return false: requested runs cannot be deleted."""
        return False
