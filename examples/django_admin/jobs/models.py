"""The requested runs. Their state is not stored here, because Slipway knows it."""

from django.conf import settings
from django.db import models


class Run(models.Model):
    """One run of a Slipway job."""

    run_id = models.CharField("run", max_length=40, unique=True, editable=False)
    job = models.CharField(max_length=100)
    parameters = models.JSONField(default=dict, blank=True)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, editable=False)
    asked_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """Newest runs first."""

        ordering = ("-asked_at",)

    def __str__(self) -> str:
        return f"{self.job} {self.run_id}"
