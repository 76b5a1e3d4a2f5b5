Map call(Map args = [:]) {
    return bgciRun('remove', args)
}
